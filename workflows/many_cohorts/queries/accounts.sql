-- The accounts of one run. A resumed one finds this task done, and so what was uploaded before.
DROP TABLE IF EXISTS braze_accounts;
CREATE TABLE braze_accounts (cohort VARCHAR, outcome VARCHAR, identifiers BIGINT, delivered BIGINT)
