from tests.ledger.conftest import path, tmp_path  # noqa: F401
