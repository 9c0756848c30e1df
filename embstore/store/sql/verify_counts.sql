-- In which images does the number of cells, or of vectors in one space, differ from the completion record? One row for
-- each such image. A completion record may exclude flagged cells (--drop-flagged gives them no vector). {table} contains
-- the vectors of the space {space}; a cell's id is <image_id>:<seg8>:<label>. Images are divided into parts here, not
-- vectors: there are few of them, and extracting the image id of every vector takes most of the time.
WITH completion_records AS (
    SELECT image_id, segmentation, n_cells
    FROM ingested
    WHERE space = '{space}' AND hash(image_id) % $parts = $part
),
of_cells AS (
    SELECT image_id, segmentation, count(*) AS n, count(*) FILTER (len(flags) > 0) AS flagged
    FROM cells_raw
    WHERE hash(image_id) % $parts = $part
    GROUP BY ALL
),
named AS (
    SELECT left(id, length(id) - strpos(reverse(id), ':') - 9) AS image_id, split_part(id, ':', -2) AS segmentation
    FROM "{table}"
),
of_vectors AS (
    SELECT image_id, segmentation, count(*) AS n
    FROM named
    WHERE hash(image_id) % $parts = $part
    GROUP BY ALL
),
compared AS (
    SELECT m.image_id, m.n_cells, coalesce(c.n, 0) AS cells, coalesce(c.flagged, 0) AS flagged, coalesce(v.n, 0) AS vectors
    FROM completion_records AS m
    LEFT JOIN of_cells AS c ON m.image_id = c.image_id AND m.segmentation = c.segmentation
    LEFT JOIN of_vectors AS v ON m.image_id = v.image_id AND m.segmentation = v.segmentation
)
SELECT
    image_id,
    n_cells IN (cells, cells - flagged) AS has_cells,
    image_id || ' (completion record ' || n_cells || ', cells ' || cells || ', vectors ' || vectors || ')' AS example
FROM compared
WHERE n_cells NOT IN (cells, cells - flagged) OR n_cells <> vectors
