-- What can be searched in one space? One row a unit that has a vector there: a cell of an image, a whole image, or a brought profile of a protein.
-- {embeddings} is the table of the vectors of the space $space. An image's id outlives its content: only the vector of its current revision counts.
WITH current_images AS (
    SELECT *
    FROM images
    QUALIFY revision = max(revision) OVER (PARTITION BY image_id)
)
SELECT
    e.id,
    u.dataset,
    u.gene,
    u.protein_ids,
    u.group_id,
    u.image_id
FROM "{embeddings}" AS e
INNER JOIN (
    SELECT cell_id AS id, dataset, gene, protein_ids, group_id, image_id
    FROM cells
    UNION ALL
    SELECT i.image_id, i.dataset, array_to_string(i.genes, ';'), i.protein_ids, p.group_id, i.image_id
    FROM current_images AS i
    INNER JOIN ingested AS m ON m.image_id = i.image_id AND m.revision = i.revision
    LEFT JOIN proteins AS p ON p.protein_id = i.protein_ids[1]
    WHERE m.space = $space
    UNION ALL
    SELECT f.profile_id, f.dataset, array_to_string(f.genes, ';'), f.protein_ids, p.group_id, NULL
    FROM profiles AS f
    LEFT JOIN proteins AS p ON p.protein_id = f.protein_ids[1]
) AS u ON e.id = u.id
ORDER BY e.id
