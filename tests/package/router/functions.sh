# shellcheck shell=dash
# A stand-in for OpenWrt's /lib/functions.sh: what sysupgrade and package scripts need of it here.

include() {
	local file
	for file in "$1"/*.sh; do
		# shellcheck source=/dev/null
		[ ! -e "$file" ] || . "$file"
	done
}
