-- Which vectors of a space are of nothing that the store has now? One row a vector.
SELECT e.id
FROM "{embeddings}" AS e
ANTI JOIN ({units_in_space}) AS u ON u.id = e.id
ORDER BY e.id
