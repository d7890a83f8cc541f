"""Whether a store is sound: every block readable, what it says consistent."""

import duckdb

from .store import STORE_CATALOG, Store, first_line


def verify(store: Store) -> list[str]:
    """Return what is wrong with the store's contents, one line each; empty when it is sound.

    Reads every column of every table once, so a damaged block is met.
    """
    findings = []
    try:
        for (table,) in store.query(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = ? ORDER BY 1",
            [STORE_CATALOG],
        ):
            store.query(f'SELECT count(*), bit_xor(hash(t)) FROM "{table}" t')
        checks = {
            "headline and model pairs scored more than once": """
                SELECT count(*) FROM (SELECT 1 FROM scores
                GROUP BY headline_key, model_fingerprint HAVING count(*) > 1)""",
            "scores whose probabilities do not sum to 1": """
                SELECT count(*) FROM scores
                WHERE NOT coalesce(abs(p_negative + p_neutral + p_positive - 1) < 1e-3, false)""",
            "scores of a model that is not in models": """
                SELECT count(*) FROM scores ANTI JOIN models USING (model_fingerprint)""",
            "scores of a run that is not in runs": """
                SELECT count(*) FROM scores ANTI JOIN runs USING (run_id)""",
        }
        for what, sql in checks.items():
            count = store.query(sql)[0][0]
            if count:
                findings.append(f"{count} {what}")
    except duckdb.Error as error:
        findings.append(f"cannot be read: {first_line(error)}")
    return findings
