-- Who is to be in the cohort: one column, user_ids, each at most once.
SELECT DISTINCT
  external_id AS user_ids
FROM
  customers
WHERE
  plan = 'gold'
  AND TRIM(external_id) <> ''
