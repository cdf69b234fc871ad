CREATE TABLE IF NOT EXISTS braze_accounts (session_uuid VARCHAR, cohort VARCHAR, identifiers BIGINT, delivered BIGINT)
