-- Which units are of the proteins $wanted of one space, and in which part of its units is each? One row a unit.
-- `protein` numbers the rows of pooled.sql; `part` depends on the id alone, so that it is the same in every store.
WITH named AS (
    SELECT id, dataset, protein_ids FROM ({units_in_space}) WHERE group_id IS NOT NULL
),
numbered AS (
    SELECT dataset, protein_ids, row_number() OVER (ORDER BY min(id)) - 1 AS protein
    FROM named
    GROUP BY dataset, protein_ids
)
SELECT n.id, p.protein, CAST(md5_number_lower(n.id) % {parts} AS BIGINT) AS part
FROM named AS n
INNER JOIN numbered AS p ON p.dataset = n.dataset AND p.protein_ids = n.protein_ids
WHERE p.protein IN (SELECT unnest($wanted::BIGINT[]))
ORDER BY n.id
