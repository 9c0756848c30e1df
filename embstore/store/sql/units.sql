-- What can a vector describe? One row for each unit: a cell, an image that has a vector of its own in some space, or an
-- external embedding of a protein. `revision` is that of an image, which keeps its id when its content changes; it is
-- null for other units.
SELECT
    cell_id AS id,
    'cell' AS unit,
    dataset,
    gene,
    protein_ids,
    group_id,
    image_id,
    image_sha256 AS content,
    nullif(antibody, '') AS antibody,
    nullif(plate, '') AS plate,
    nullif(plate, '') || '/' || nullif(well, '') AS well,
    NULL AS revision
FROM cells
UNION ALL
SELECT
    i.image_id AS id,
    'image' AS unit,
    i.dataset,
    array_to_string(i.genes, ';') AS gene,
    i.protein_ids,
    p.group_id,
    i.image_id,
    i.sha256 AS content,
    nullif(i.antibody, '') AS antibody,
    nullif(i.plate, '') AS plate,
    nullif(i.plate, '') || '/' || nullif(i.well, '') AS well,
    i.revision
FROM image_current AS i
SEMI JOIN (
    SELECT m.image_id, m.revision
    FROM ingested AS m
    INNER JOIN spaces AS s ON s.digest = m.space
    WHERE s.unit = 'image'
) AS embedded ON embedded.image_id = i.image_id AND embedded.revision = i.revision
-- all protein ids of one image are in the same group, so the first one is enough
LEFT JOIN proteins AS p ON p.protein_id = i.protein_ids[1]
UNION ALL
SELECT
    f.profile_id AS id,
    'protein' AS unit,
    f.dataset,
    array_to_string(f.genes, ';') AS gene,
    f.protein_ids,
    p.group_id,
    NULL AS image_id,
    NULL AS content,
    NULL AS antibody,
    NULL AS plate,
    NULL AS well,
    NULL AS revision
FROM profiles AS f
-- all protein ids of one profile are in the same group, so the first one is enough
LEFT JOIN proteins AS p ON p.protein_id = f.protein_ids[1]
