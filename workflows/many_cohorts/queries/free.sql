SELECT
  "external_id" AS "user_ids"
FROM
  "customers"
WHERE
  "plan" = 'free'
  AND "external_id" IS NOT NULL
