-- Which units of a dataset have a vector in a space, and what are their group and locations? One row for each unit.
-- {vectors} is the table of the space $space. An image's vector counts only if it is of the current revision.
WITH dataset_units AS (
    SELECT *
    FROM units
    WHERE dataset = $dataset
),
unit_labels AS (
    {unit_labels}
),
located AS (
    SELECT id, list(location ORDER BY location) AS locations
    FROM unit_labels
    GROUP BY id
)
SELECT u.id, u.group_id, u.image_id, u.well, u.content, l.locations
FROM dataset_units AS u
SEMI JOIN "{vectors}" AS v ON v.id = u.id
LEFT JOIN located AS l ON l.id = u.id
WHERE
    u.unit = $unit
    AND (
        u.revision IS NULL
        OR (u.id, u.revision) IN (SELECT (m.image_id, m.revision) FROM ingested AS m WHERE m.space = $space)
    )
ORDER BY u.id
