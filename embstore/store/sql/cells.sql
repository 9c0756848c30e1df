-- Which cells does the store have, and of which image and protein is each? One row for each cell of the current
-- revision and segmentation of its image.
SELECT
    c.cell_id,
    c.image_id,
    i.dataset,
    array_to_string(i.genes, ';') AS gene,
    i.protein_ids,
    p.group_id,
    i.plate,
    i.well,
    i.site,
    i.cell_line,
    i.antibody,
    i.extra,
    i.pixel_size_um,
    i.pixel_size_source,
    i.sha256 AS image_sha256,
    c.segmentation,
    c.label,
    c.box,
    c.centroid,
    c.nucleus_area_um2,
    c.cell_area_um2,
    c.zoom,
    c.roles_present,
    c.flags,
    c.mask,
    c.nucleus_mask,
    c.thumbnail
FROM cells_raw AS c
INNER JOIN image_current AS i ON c.image_id = i.image_id AND c.segmentation = i.segmentation
-- all protein ids of one image are in the same group, so the first one is enough
LEFT JOIN proteins AS p ON p.protein_id = i.protein_ids[1]
