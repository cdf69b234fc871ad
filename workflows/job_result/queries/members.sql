-- Braze knows columns by exact name: user_ids (external IDs), device_ids, and one column for each alias, named as its label.
SELECT
  external_id AS user_ids,
  CAST(NULL AS VARCHAR) AS device_ids,
  email
FROM
  customers
WHERE
  plan = 'gold'
