-- Which units of a dataset have a vector in a space, and what are their group and locations? One row a unit.
WITH units AS (
    {units}
),
unit_labels AS (
    {unit_labels}
),
located AS (
    SELECT id, list(location ORDER BY location) AS locations
    FROM unit_labels
    GROUP BY id
)
SELECT u.id, u.group_id, u.image_id, u.content, l.locations
FROM units AS u
SEMI JOIN {vectors} AS v ON v.id = u.id
LEFT JOIN located AS l ON l.id = u.id
WHERE u.unit = $unit
ORDER BY u.id
