# Shared by the scripts beside it: source it first, it moves to the root of the tree.
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

jobs=$(nproc 2>/dev/null || echo 2)
((jobs > 4)) && jobs=4

say() { printf '%s\n' "$*"; }

die() {
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

# help_if_asked "$1": prints the comment block at the top of the script
help_if_asked() {
	case ${1-} in
	-h | --help)
		sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"
		exit 0
		;;
	esac
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "needs root for: $* (run it as root, or install sudo)"
	fi
}

# need_packages NAME...: installs those of these Debian packages that are missing
need_packages() {
	local name missing=()
	command -v apt-get >/dev/null || die "no apt-get here; install the equivalents of: $*"
	for name in "$@"; do
		dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed ||
			missing+=("$name")
	done
	[ ${#missing[@]} = 0 ] && return 0
	say "installing ${missing[*]}"
	as_root apt-get -qq -o DPkg::Lock::Timeout=300 update
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 \
		install --no-install-recommends "${missing[@]}" >/dev/null
}

# version_number 3.6.7 -> 30607
version_number() {
	local a b c
	IFS=. read -r a b c <<<"${1%%[-~+]*}"
	printf '%d%02d%02d\n' "${a:-0}" "${b:-0}" "${c:-0}"
}

# build_preset NAME [TARGET...]: configures on first use, then builds what has changed
build_preset() {
	local preset=$1
	local dir=build/$preset
	shift
	mkdir -p "$dir"
	(
		flock 8
		if [ ! -e "$dir/build.ninja" ]; then
			say "configuring $dir"
			cmake --preset "$preset" >"$dir/configure.log" 2>&1 ||
				{ cat "$dir/configure.log" >&2; exit 1; }
		fi
		cmake --build "$dir" -j "$jobs" ${1:+--target "$@"}
	) 8>"$dir.lock"
}
