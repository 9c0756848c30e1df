-- By what can the labelled units of a dataset be grouped? One row.
WITH dataset_units AS (
    SELECT *
    FROM units
    WHERE dataset = $dataset
),
unit_labels AS (
    {unit_labels}
)
SELECT
    count(*) AS n_units,
    count(u.group_id) AS with_protein,
    count(u.well) AS with_well,
    count(DISTINCT u.well) AS n_wells
FROM dataset_units AS u
SEMI JOIN unit_labels AS l ON l.id = u.id
ORDER BY ALL
