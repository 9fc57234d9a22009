#!/usr/bin/env python3
"""The classical pipeline as scikit-learn has it, on our own TF-IDF vectors: is our t-SNE, or its reach, to blame?

    ./dev bench explain --write-vectors vectors.jsonl
    python3 bench/classical.py vectors.jsonl          # needs scikit-learn and scipy

t-SNE (perplexity 30) and DBSCAN (reach 0.8, five points) with scikit-learn's defaults for everything else. A group has the label
of most of its members, each of which votes on itself; normal and benign episodes have the label `none`. Prints, for three seeds,
groups, share of faults named, and macro precision and recall as `bench/src/explain/score.rs` counts them; beside the prescribed
numbers, those that would suit this corpus better.
"""
import collections, json, sys
import numpy as np
from scipy.sparse import csr_matrix
from sklearn.cluster import DBSCAN
from sklearn.manifold import TSNE

SEEDS, PERPLEXITIES, CROWDS, REACHES, NOTHING = range(3), (30, 5), (5, 3), (0.4, 0.8, 1.2, 1.6, 2.0), "none"


def read(path):
    episodes, columns, rows, cols, values = [], {}, [], [], []
    for number, line in enumerate(open(path)):
        episode = json.loads(line)
        for word, weight in episode.pop("weights"):
            rows.append(number)
            cols.append(columns.setdefault(word, len(columns)))
            values.append(weight)
        episodes.append(episode)
    return episodes, csr_matrix((values, (rows, cols)), shape=(len(episodes), len(columns)))


def said(episodes, groups):
    """What the majority of its group says about each episode; None for noise, for `none`, and without labels."""
    votes = collections.defaultdict(collections.Counter)
    for episode, group in zip(episodes, groups):
        if group >= 0 and episode["label"]:
            votes[group][episode["label"]] += 1
    # The most votes, and of equal ones the first by name.
    first = {group: min(count, key=lambda label: (-count[label], label)) for group, count in votes.items()}
    names = [first.get(group) if group >= 0 else None for group in groups]
    return [None if name == NOTHING else name for name in names]


def score(episodes, names):
    """Shares of faults named and right, macro precision and recall over the first fault of each episode."""
    faults = [(e["fault"], name) for e, name in zip(episodes, names) if e["fault"]]
    counted = [(e["fault"] or [], name) for e, name in zip(episodes, names) if e["fault"] or e["label"] == NOTHING]
    precision, recall = [], []
    for pattern in sorted({truth[0] for truth, _ in faults}):
        called = [truth for truth, name in counted if name == pattern]
        own = [(truth, name) for truth, name in faults if truth[0] == pattern]
        precision.append(sum(pattern in truth for truth in called) / len(called) if called else 0.0)
        recall.append(sum(name in truth for truth, name in own) / len(own))
    named = sum(name is not None for _, name in faults) / len(faults)
    right = sum(name in truth for truth, name in faults) / len(faults)
    return named, right, float(np.mean(precision)), float(np.mean(recall))


def main():
    episodes, vectors = read(sys.argv[1])
    of_one = collections.Counter((e["program"], e["label"]) for e in episodes if e["label"] and e["label"] != NOTHING)
    print(f"{len(episodes)} episodes, {vectors.shape[1]} words; episodes of one fault in one program: at most {max(of_one.values())}")
    print(f"{'perplexity':>10} {'points':>6} {'reach':>5} {'seed':>4} {'groups':>6} {'noise':>6} {'named':>6} {'right':>6} {'macro P':>7} {'macro R':>7} {'extent':>6}")
    for perplexity in PERPLEXITIES:
        maps = [TSNE(perplexity=perplexity, random_state=seed).fit_transform(vectors.toarray()) for seed in SEEDS]
        for crowd in CROWDS:
            for reach in REACHES:
                for seed, places in zip(SEEDS, maps):
                    groups = DBSCAN(eps=reach, min_samples=crowd).fit_predict(places)
                    named, right, precision, recall = score(episodes, said(episodes, groups))
                    print(f"{perplexity:10} {crowd:6} {reach:5.1f} {seed:4} {groups.max() + 1:6} {np.mean(groups < 0):6.1%} {named:6.1%}"
                          f" {right:6.1%} {precision:7.1%} {recall:7.1%} {np.abs(places).max():6.1f}", flush=True)


if __name__ == "__main__":
    main()
