-- Which revision of each image counts? One row an image: its newest revision, with all columns of `images`.
SELECT *
FROM images
QUALIFY revision = max(revision) OVER (PARTITION BY image_id)
