-- The reports of one run. A resume skips this task, so it keeps the reports of finished cohorts.
DROP TABLE IF EXISTS braze_accounts;
CREATE TABLE braze_accounts (cohort VARCHAR, outcome VARCHAR, identifiers BIGINT, delivered BIGINT)
