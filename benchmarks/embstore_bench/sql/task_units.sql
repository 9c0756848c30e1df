-- Which units of a dataset have a vector in a space, and what are their group and locations? One row for each unit.
-- {vectors} is the table of the space $space. An image's vector counts only if it is of the current revision.
-- Locations are the same as those of unit_labels.sql, put together once for each list of proteins, not for each unit.
WITH dataset_units AS (
    SELECT *
    FROM units
    WHERE dataset = $dataset
),
subject_labels AS (
    SELECT level, subject_id, list(location ORDER BY location) AS locations
    FROM labels
    WHERE label_set = $label_set
    GROUP BY level, subject_id
),
protein_labels AS (
    SELECT p.protein_ids, list_sort(list_distinct(flatten(list(l.locations)))) AS locations
    FROM (SELECT DISTINCT protein_ids, unnest(protein_ids) AS subject_id FROM dataset_units) AS p
    INNER JOIN subject_labels AS l ON l.level = 'protein' AND l.subject_id = p.subject_id
    GROUP BY p.protein_ids
)
SELECT
    u.id,
    u.group_id,
    u.image_id,
    u.well,
    CASE
        WHEN i.locations IS NULL AND c.locations IS NULL THEN p.locations
        ELSE list_sort(list_distinct(list_concat(list_concat(p.locations, i.locations), c.locations)))
    END AS locations
FROM dataset_units AS u
SEMI JOIN "{vectors}" AS v ON v.id = u.id
LEFT JOIN protein_labels AS p ON p.protein_ids = u.protein_ids
LEFT JOIN subject_labels AS i ON i.level = 'image' AND i.subject_id = u.image_id
LEFT JOIN subject_labels AS c ON c.level = 'cell' AND c.subject_id = u.id
WHERE
    u.unit = $unit
    AND (
        u.revision IS NULL
        OR (u.id, u.revision) IN (SELECT (m.image_id, m.revision) FROM ingested AS m WHERE m.space = $space)
    )
ORDER BY u.id
