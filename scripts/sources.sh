# Shared by the scripts beside it: source packages of Debian, in build/sources/PACKAGE.
# shellcheck shell=bash
#
# They are fetched by apt through a configuration of their own, derived from this machine's
# (next_release_sources.py): same mirrors, same keys, the release replaced. Remove a folder to
# take a newer package. Needs lib.sh.
# shellcheck disable=SC2154 # root is lib.sh's

# shellcheck disable=SC2034 # for those who source this
next_release=trixie
sources=$root/build/sources
mbedtls_floor=3.6.0

good_enough() { [ -n "$1" ] && (($(version_number "$1") >= $(version_number $mbedtls_floor))); }

# release_apt RELEASE TOOL ARGUMENT...: an apt tool that knows only that release's sources
release_apt() {
	local dir=$sources/apt-$1 tool=$2
	shift 2
	"$tool" -q -o Dir::Etc::SourceList="$dir/apt.sources" -o Dir::Etc::SourceParts="$dir/none" \
		-o Dir::State::Lists="$dir/lists" -o Dir::Cache="$dir/cache" -o APT::Sandbox::User=root "$@"
}

# release_lists RELEASE: the index of its source packages, once
release_lists() {
	local dir=$sources/apt-$1
	[ -e "$dir/done" ] && return 0
	# a machine whose package lists were removed knows nothing of its own entries
	[ -n "$(apt-get indextargets 'Origin: Debian')" ] || as_root apt-get -qq update
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	python3 scripts/next_release_sources.py "$1" >"$dir/apt.sources"
	[ -s "$dir/apt.sources" ] || die "apt on this machine has no entry for Debian main"
	release_apt "$1" apt-get update >"$dir/log" 2>&1 || { cat "$dir/log" >&2; die "no $1 sources"; }
	touch "$dir/done"
}

# newest_source RELEASE PACKAGE: prints its version there
newest_source() {
	release_apt "$1" apt-cache showsrc "$2" | sed -n 's/^Version: //p' | sort -V | tail -1
}

# source_package PACKAGE RELEASE: leaves the unpacked source in build/sources/PACKAGE
source_package() {
	local package=$1 release=$2 dir=$sources/fetch-$1 version
	[ -d "$sources/$package" ] && return 0
	release_lists "$release"
	version=$(newest_source "$release" "$package")
	[ -n "$version" ] || die "$release has no source package $package"
	say "fetching the source package $package $version"
	rm -rf "$dir"
	mkdir -p "$dir"
	(cd "$dir" && release_apt "$release" apt-get source --download-only "$package=$version") \
		>"$dir/log" 2>&1 || { cat "$dir/log" >&2; die "could not fetch $package $version"; }
	# apt has verified the .dsc against the signed index
	dpkg-source --no-check -x "$dir"/*.dsc "$dir/out" >"$dir/log" 2>&1 ||
		{ cat "$dir/log" >&2; die "could not unpack $package $version"; }
	mv "$dir/out" "$sources/$package"
	rm -rf "$dir"
}

# source_mbedtls RELEASE...: from the first of them that has one new enough
source_mbedtls() {
	local release version
	[ -d "$sources/mbedtls" ] && return 0
	for release in "$@"; do
		release_lists "$release"
		version=$(newest_source "$release" mbedtls)
		good_enough "${version%%-*}" || continue
		source_package mbedtls "$release"
		return 0
	done
	die "$release offers mbedtls '$version', needed is $mbedtls_floor"
}

this_release() { sed -n 's/^VERSION_CODENAME=//p' /etc/os-release; }
