#!/bin/sh
# Without arguments: run the service of this image. With arguments: any other `wattbus` command, like `check`.
[ $# -gt 0 ] || set -- run "$SERVICE"
exec wattbus "$@"
