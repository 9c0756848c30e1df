-- Which revision of each image is the current one? One row for each image: its newest revision, with all columns of `images`.
SELECT *
FROM images
QUALIFY revision = max(revision) OVER (PARTITION BY image_id)
