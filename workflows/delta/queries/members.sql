-- Who is to be in the cohort: one column of text, user_ids. A number needs the CAST, as the tables hold text.
SELECT DISTINCT
  CAST(external_id AS VARCHAR) AS user_ids
FROM
  customers
WHERE
  plan = 'gold'
  AND TRIM(CAST(external_id AS VARCHAR)) <> ''
