SELECT
  '${cohort}' AS cohort,
  '${braze_cohort.last_upload.outcome}' AS outcome,
  ${braze_cohort.last_upload.identifiers.total} AS identifiers,
  ${braze_cohort.last_upload.delivered} AS delivered
