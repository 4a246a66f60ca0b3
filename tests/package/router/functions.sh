# A stand-in for OpenWrt's /lib/functions.sh: what sysupgrade and package scripts need of it here.

include() {
	local file
	for file in "$1"/*.sh; do
		[ ! -e "$file" ] || . "$file"
	done
}
