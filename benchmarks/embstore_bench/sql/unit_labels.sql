-- Which locations does a unit have in a label set? One row for each unit and location; reads the CTE `dataset_units`.
SELECT u.id, l.location
FROM (SELECT id, unnest(protein_ids) AS subject_id FROM dataset_units) AS u
INNER JOIN labels AS l ON l.subject_id = u.subject_id
WHERE l.label_set = $label_set AND l.level = 'protein'
UNION
SELECT u.id, l.location
FROM dataset_units AS u
INNER JOIN labels AS l ON l.subject_id = u.image_id
WHERE l.label_set = $label_set AND l.level = 'image'
UNION
SELECT u.id, l.location
FROM dataset_units AS u
INNER JOIN labels AS l ON l.subject_id = u.id
WHERE l.label_set = $label_set AND l.level = 'cell'
