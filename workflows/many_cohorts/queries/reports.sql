-- The reports of one run. A resume skips this task, so it keeps the reports of finished cohorts.
DROP TABLE IF EXISTS braze_reports;
CREATE TABLE braze_reports (cohort VARCHAR, outcome VARCHAR, identifiers BIGINT, delivered BIGINT)
