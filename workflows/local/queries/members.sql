-- Columns need these exact names: user_ids (external IDs), device_ids, and the label of each alias.
-- Cast numbers: CAST("external_id" AS VARCHAR). Cast a DOUBLE twice: CAST(CAST("external_id" AS BIGINT) AS VARCHAR).
SELECT
  "external_id" AS "user_ids",
  "device_id" AS "device_ids",
  "email"
FROM
  "customers"
WHERE
  "plan" = 'gold'
