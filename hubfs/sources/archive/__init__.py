"""A model that is hosted as an archive: its files are read while the archive streams, and by its index from then on.

The door is `source.ArchiveSource`, which `Kit` makes. A file is a `MemberBlob` over a `CachedBlob` over a `StoredBlob`:
the cache is asked first, then the spans of the archive's index, then the pass that goes by. There is one table of the
archive's members (`contents`), and one type of member (`IndexedMember`). The meaning of gzip and tar belongs to
`formats`, the way of bytes to `blobs`, keeping to `cache`.
"""
