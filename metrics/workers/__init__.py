"""Official implementations in environments of their own: `mutoscope workers build NAME`, then one process a metric.

A tool is a folder with an `environment.yaml`, its pinned requirements and a worker script; see `environment` for the
first, `serve` for what the script defines, `client` for the process seen from our side.
"""
