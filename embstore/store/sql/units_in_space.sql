-- Which units have a vector in one space? One row for each unit.
-- {embeddings} is the table of the vectors of the space $space. An image's vector counts only if it is of the current revision.
SELECT u.id, u.dataset, u.gene, u.protein_ids, u.group_id, u.image_id
FROM units AS u
SEMI JOIN "{embeddings}" AS e ON e.id = u.id
WHERE
    u.revision IS NULL
    OR (u.id, u.revision) IN (SELECT (m.image_id, m.revision) FROM ingested AS m WHERE m.space = $space)
ORDER BY u.id
