"""Where pairs come from: a file a kind of source, and its entry here.

Such a file holds `LAYOUT`, a line that says what the source reads; `fits(input: str) -> bool`, whether a path looks so;
and the function of the entry, from a `data_tools.pairs.Place` to a `data_tools.pairs.Offered`.
"""

# Name for --source -> where its function is; found by kseg.registry.find.
SOURCES = {
    "folders": "data_tools.sources.folders:find_folders",
    "sagemaker": "data_tools.sources.sagemaker:find_sagemaker",
    "voc": "data_tools.sources.voc:find_voc",
    "cityscapes": "data_tools.sources.cityscapes:find_cityscapes",
    "ade20k": "data_tools.sources.ade20k:find_ade20k",
    "manifest": "data_tools.sources.manifest:find_manifest",
    "csv": "data_tools.sources.csv_file:find_csv",
}
