"""What a server has set, and who has asked not to be heard."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "server_settings",
        sa.Column("server_id", sa.Text, primary_key=True),
        sa.Column("attention", sa.Text, nullable=False),
    )
    op.create_table(
        "volumes",
        sa.Column("server_id", sa.Text, primary_key=True),
        sa.Column("person_id", sa.Text, primary_key=True),
        sa.Column("percent", sa.Integer, nullable=False),
    )
    op.create_table("ignored_persons", sa.Column("person_id", sa.Text, primary_key=True))
