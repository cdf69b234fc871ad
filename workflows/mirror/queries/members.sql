-- Braze knows columns by exact name: user_ids (external IDs), device_ids, and one column for each alias, named as its label.
-- A number as an ID: CAST("external_id" AS VARCHAR). A DOUBLE first: CAST(CAST("external_id" AS BIGINT) AS VARCHAR).
SELECT
  "external_id" AS "user_ids",
  "device_id" AS "device_ids",
  "email"
FROM
  "customers"
WHERE
  "plan" = 'gold'
