"""Many clips: a folder, a list or a manifest of them, on one machine or on a Ray cluster.

    OUT/clips/NAME-KEY/            what `segment` writes; there only when it is whole
    OUT/manifest.parquet           one row per clip
    OUT/index.html, OUT/sheet/     the contact sheet
    OUT/.batch/records/K/KEY.json  written last: what has one is done, or cannot be done
    OUT/.batch/contents/S/STAMP    the digest of a file that has not changed since
    OUT/.batch/work/               of clips that are in hand

KEY depends on the bytes of a clip and on the settings, not on names, places or times.
"""

HIDDEN = ".batch"  # the folder below OUT that no person needs
