-- Which proteins have vectors in one space? One row a protein (or all proteins of one antibody) and dataset, by the first of its ids.
-- `members` changes with the ids of its units.
SELECT
    dataset,
    arg_min(gene, id) AS gene,
    protein_ids,
    arg_min(group_id, id) AS group_id,
    arg_min(image_id, id) AS image_id,
    min(id) AS first_id,
    count(*) AS n_units,
    bit_xor(md5_number_lower(id)) AS members
FROM ({units_in_space})
WHERE group_id IS NOT NULL
GROUP BY dataset, protein_ids
ORDER BY first_id
