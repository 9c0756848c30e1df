-- Which units could be scored in a dataset? One row a unit: a cell, or a brought vector of a protein.
SELECT
    cell_id AS id,
    'cell' AS unit,
    group_id,
    protein_ids,
    image_id,
    image_sha256 AS content,
    nullif(antibody, '') AS antibody,
    nullif(plate, '') AS plate,
    nullif(plate, '') || '/' || nullif(well, '') AS well
FROM cells
WHERE dataset = $dataset
UNION ALL
SELECT
    f.profile_id AS id,
    'protein' AS unit,
    p.group_id,
    f.protein_ids,
    NULL AS image_id,
    NULL AS content,
    NULL AS antibody,
    NULL AS plate,
    NULL AS well
FROM profiles AS f
-- all protein ids of one profile are of one group, so the first names it
LEFT JOIN proteins AS p ON p.protein_id = f.protein_ids[1]
WHERE f.dataset = $dataset
