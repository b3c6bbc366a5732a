"""What a person has set: a voice, a prompt."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "person_settings",
        sa.Column("person_id", sa.Text, primary_key=True),
        sa.Column("voice", sa.Text),
        sa.Column("prompt", sa.Text),
    )
