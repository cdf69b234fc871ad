-- A cohort has a report if its upload ended with exit code 0. failed lists the names of the others.
WITH uploaded AS (
  SELECT cohort, MAX(outcome) AS outcome, MAX(identifiers) AS identifiers, MAX(delivered) AS delivered
  FROM braze_reports
  GROUP BY cohort
)
SELECT
  COUNT(*) AS uploaded,
  COALESCE(MAX(outcome), 'none') AS outcome,
  COALESCE(SUM(identifiers), 0) AS identifiers,
  COALESCE(SUM(delivered), 0) AS delivered,
  ''${cohorts.map(function (name) {
    return " || COALESCE(MIN(CASE WHEN cohort = '" + name + "' THEN '' ELSE ' " + name + "' END), ' " + name + "')"
  }).join("")} AS failed
FROM uploaded
