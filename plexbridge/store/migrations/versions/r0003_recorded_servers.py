"""Which servers' conversations are recorded."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table."""
    op.create_table("recorded_servers", sa.Column("server_id", sa.Text, primary_key=True))
