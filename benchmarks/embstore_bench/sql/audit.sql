-- How many units share each kind of entity with units of another fold of a split? One row for each kind of entity.
-- Every unit is tested once, so what it shares with another fold is shared with the units that the head was fitted or
-- chosen on.
WITH dataset_units AS (
    SELECT *
    FROM units
    WHERE dataset = $dataset
),
placed AS (
    SELECT u.*, g.fold
    FROM dataset_units AS u
    INNER JOIN split_groups AS g
        ON g.group_id = CASE
            WHEN $by = 'protein' THEN u.group_id
            WHEN $by = 'cell' THEN u.id
            WHEN $grouping = 'well' THEN u.well
            ELSE u.image_id
        END
    WHERE g.name = $name AND (u.group_id IS NOT NULL OR $grouping <> 'protein')
),
kin AS (
        -- the ids themselves, not their group: a wrong group would show here
    SELECT id, fold, 'protein' AS entity, unnest(protein_ids) AS value FROM placed
    UNION ALL
    SELECT id, fold, 'image' AS entity, image_id AS value FROM placed
    UNION ALL
    SELECT id, fold, 'content' AS entity, content AS value FROM placed
    UNION ALL
    SELECT id, fold, 'antibody' AS entity, antibody AS value FROM placed
    UNION ALL
    SELECT id, fold, 'plate' AS entity, plate AS value FROM placed
    UNION ALL
    SELECT id, fold, 'well' AS entity, well AS value FROM placed
),
shared AS (
    SELECT entity, value, count(DISTINCT fold) > 1 AS leaks
    FROM kin
    WHERE value IS NOT NULL
    GROUP BY entity, value
)
SELECT
    k.entity,
    count(DISTINCT k.id) AS units,
    count(DISTINCT CASE WHEN s.leaks THEN k.id END) AS with_kin
FROM kin AS k
INNER JOIN shared AS s ON s.entity = k.entity AND s.value = k.value
GROUP BY k.entity
ORDER BY k.entity
