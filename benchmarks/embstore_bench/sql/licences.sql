-- Under which licences are a dataset's images? One row for each licence.
SELECT licence, count(*) AS n_images
FROM images
WHERE dataset = $dataset
GROUP BY licence
ORDER BY licence
