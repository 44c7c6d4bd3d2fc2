#!/usr/bin/env python3
"""Turn text into the HDF5 token file that the spq programs read: the program is token_file.py beside this file.

    python3 tools/tokenize.py --tokenizer MODEL_DIR/tokenizer.json --text FILE [FILE...] --out tokens.h5

A module of Python's standard library has the same name. Python looks for modules beside the running script first,
so every script in this folder would find this file instead: it then hands over the standard one.
"""
if __name__ == "__main__":
    try:
        from token_file import main
    except ModuleNotFoundError as error:
        raise SystemExit(f"tokenize: needs {error.name}: pip install tokenizers h5py numpy") from None
    main()
else:
    import importlib.util
    import sys
    import sysconfig

    specification = importlib.util.spec_from_file_location(__name__, sysconfig.get_path("stdlib") + "/tokenize.py")
    sys.modules[__name__] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(sys.modules[__name__])
