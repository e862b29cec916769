"""Measurements, side by side in one run: `make bench`, `make bench-quick`.

`run` is the order of a run and `scene` what each part of it is given. Parts: `bare`,
`side_by_side`, `added_latency`, `predictor_alone`, `decode_path`, `transformer_alone`, `pressure`,
`start_up`.
Each gives figures by name; `spread` takes them over the rounds, `goals` holds them against what
is to be reached, `report` writes the page. The client is `load`, over `connection` and `request`.
"""
