-- Which cells of some proteins have a vector in one space and a picture? One row a cell.
-- $keys are dataset and protein ids, joined by {separator}. `rest` is 0 where the cell and its picture lie within the image, 1 where only
-- the cell does, 2 where the border cuts it. A picture is {thumbnail_px} pixels wide.
WITH asked AS (
    SELECT *, c.dataset || '{separator}' || array_to_string(c.protein_ids, ';') AS key, {thumbnail_px} / 2 / c.zoom AS half
    FROM cells AS c
    SEMI JOIN "{embeddings}" AS e ON e.id = c.cell_id
    WHERE c.dataset || '{separator}' || array_to_string(c.protein_ids, ';') IN (SELECT unnest($keys::VARCHAR[]))
)
SELECT
    a.cell_id,
    a.key,
    a.image_id,
    CASE
        WHEN list_contains(a.flags, 'touches_edge') THEN 2
        WHEN
            a.centroid[1] < a.half OR a.centroid[1] > i.shape[-2] - a.half
            OR a.centroid[2] < a.half OR a.centroid[2] > i.shape[-1] - a.half
            THEN 1
        ELSE 0
    END AS rest
FROM asked AS a
INNER JOIN image_current AS i ON i.image_id = a.image_id
ORDER BY a.cell_id
