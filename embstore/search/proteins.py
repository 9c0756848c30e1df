"""The proteins nearest to one, by the cosine similarity of mean vectors; exact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embstore.errors import EmbstoreError, choices
from embstore.search.index import Index, as_index
from embstore.search.neighbours import Query, SimilarProtein, SimilarProteins, Vote
from embstore.search.pooled import PooledVectors
from embstore.search.uncertainty import Ranked
from embstore.store import Store, Vectors

ID_PREFIX = 4  # letters that tell a protein id from a gene: ENSG
RowNumbers = npt.NDArray[np.intp]


def similar_proteins(
    store: Store | Index,
    name: str,
    *,
    backbone: str | None = None,
    space: str | None = None,
    dataset: str | None = None,
    k: int = 10,
    centre: bool = True,
) -> SimilarProteins:
    """Return the proteins whose mean vector is nearest to that of the protein `name` (gene symbol or protein id).

    A protein is one row a dataset: the mean of its cells (in other spaces, its whole images or external embeddings)
    there, and `n_cells` is how many. Proteins of the query's own group are left out. `backbone` (a spec such as
    `hpa:crop_um=40`) and `space` (the start of a digest) choose the space; an `Index` has one already. `centre`
    subtracts the mean of the searched vectors first. With `dataset`, neighbours are of that dataset, and so are the
    cells that stand for the query, unless it has none there. Reads only, but for the mean vectors that `open_index`
    keeps; EmbstoreError where the space lacks `name`.
    """
    index = as_index(store, backbone, space)
    ranked, own_rows = index.ranked(dataset, centre=centre), index.rows_of(dataset)
    own = _rows_of_query(index, name, own_rows)
    query = index.pooled.take(own)
    vector = (query.sums.sum(axis=(0, 1), dtype=np.float64) / query.totals.sum()).astype(np.float32)
    similarity = _similarity(ranked, vector)

    eligible = np.flatnonzero(~_of_groups(ranked.pooled, query))
    order = eligible[np.argsort(-similarity[eligible], kind="stable")]
    locations = [index.locations[row] for row in own_rows]
    top = order[:k]
    asked = Query(name=name, locations=index.locations[int(own[0])], rows=_keys(query))
    return SimilarProteins(
        query=name,
        space=index.name,
        digest=index.digest,
        centred=centre,
        asked=asked,
        vector=vector,
        centre=ranked.centre,
        rows=_records(ranked, query, similarity, order=order, k=k, locations=locations),
        votes=_votes([locations[row] for row in top], [locations[row] for row in order]),
    )


def _rows_of_query(index: Index, name: str, within: RowNumbers) -> RowNumbers:
    """Return the pooled rows that a name stands for: those of the searched dataset, if it has any there."""
    asked = _asked_rows(index, name)
    inside = np.intersect1d(asked, within)
    return inside if len(inside) else asked


def _asked_rows(index: Index, name: str) -> RowNumbers:
    """Return the rows of the pooled proteins that a name stands for; EmbstoreError where none does."""
    proteins = index.pooled.proteins
    ids = index.ids_by_name.get(name.lower(), [])
    listed = proteins["protein_ids"].combine_chunks()
    is_named = pc.is_in(pc.list_flatten(listed), value_set=pa.array(ids, pa.string()))
    of_ids = pc.list_parent_indices(listed).filter(is_named).to_numpy()
    rows = np.union1d(of_ids, index.rows_by_gene.get(name.lower(), []))
    if not len(rows):
        raise EmbstoreError(_no_protein(name, ids, proteins, index.name))
    return rows.astype(np.intp)


def _of_groups(pooled: PooledVectors, query: PooledVectors) -> npt.NDArray[np.bool_]:
    """Return for each protein whether it is of one of the query's groups (proteins,)."""
    groups = pooled.proteins["group_id"]
    mask: npt.NDArray[np.bool_] = pc.is_in(groups, value_set=query.proteins["group_id"].combine_chunks()).to_numpy()
    return mask


def _similarity(ranked: Ranked, vector: Vectors) -> Vectors:
    moved = vector - ranked.centre
    length = np.linalg.norm(moved) if vector.any() else np.inf  # a zero vector is similar to nothing
    similarity: Vectors = ranked.units @ (moved / (length or np.inf))
    return similarity


def _keys(query: PooledVectors) -> tuple[tuple[str, str], ...]:
    columns = query.proteins.select(["dataset", "protein_ids"]).to_pydict()
    return tuple((dataset, ";".join(ids)) for dataset, ids in zip(*columns.values(), strict=True))


def _records(
    ranked: Ranked, query: PooledVectors, similarity: Vectors, *, order: RowNumbers, k: int, locations: Sequence[str]
) -> tuple[SimilarProtein, ...]:
    """Return the first k of the proteins `order`, as records."""
    top = order[:k]
    intervals = ranked.rank_intervals(query, order, k).tolist()
    percentiles = ranked.percentiles(similarity[top])
    rows = ranked.pooled.proteins.select(["gene", "protein_ids", "dataset"]).take(pa.array(top)).to_pylist()
    return tuple(
        SimilarProtein(
            rank=rank,
            gene=row["gene"],
            protein_id=";".join(row["protein_ids"]),
            dataset=row["dataset"],
            similarity=float(similarity[number]),
            n_cells=int(ranked.pooled.totals[number]),
            locations=locations[number],
            percentile=None if np.isnan(percentile) else float(percentile),
            rank_low=None if interval[0] < 0 else interval[0],
            rank_high=None if interval[1] < 0 else interval[1],
        )
        for rank, (number, row, percentile, interval) in enumerate(
            zip(top, rows, percentiles, intervals, strict=True), start=1
        )
    )


def _votes(near: Sequence[str], all_ranked: Sequence[str]) -> tuple[Vote, ...]:
    """Return how many of the neighbours have each location, beside what as many proteins drawn at random would have.

    Proteins without any location are not counted, neither among the neighbours nor among all that are ranked.
    """
    near, all_ranked = [n for n in near if n], [a for a in all_ranked if a]
    counts = Counter(location for joined in near for location in joined.split(";"))
    usual = Counter(location for joined in all_ranked for location in joined.split(";"))
    votes = [
        Vote(location, count, len(near), len(near) * usual[location] / len(all_ranked))
        for location, count in counts.items()
    ]
    return tuple(sorted(votes, key=lambda vote: (vote.expected - vote.count, vote.location)))


def _no_protein(name: str, protein_ids: Sequence[str], proteins: pa.Table, space: str) -> str:
    if protein_ids:
        return f"{name} has no cells in {space}; embed its images with that backbone, or choose another --backbone"
    genes = {gene for joined in pc.unique(proteins["gene"]).to_pylist() if joined for gene in joined.split(";")}
    if not genes:
        return f"no cell of {space} is of a named protein; ingest its images with --labels that name their genes"
    # what begins like an id, such as "ENSG" or "ensembl:ENSG", is compared with ids
    ids = {protein.partition(":")[2] for protein in pc.unique(pc.list_flatten(proteins["protein_ids"])).to_pylist()}
    bare = name.rpartition(":")[2]
    is_id = len(bare) > ID_PREFIX and any(known.startswith(bare[:ID_PREFIX].upper()) for known in ids - genes)
    return choices(bare if is_id else name, "protein", ids if is_id else genes, f"in {space}")
