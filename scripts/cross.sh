# Shared by the scripts beside it: building for other machines with musl, statically.
# shellcheck shell=bash
#
#   build/cross/venv               the compiler (cross-requirements.txt)
#   build/cross/cache              what it keeps; may be removed
#   build/cross/MACHINE/           cc, ar, musl, toolchain.cmake, and below it builds of doorstep
#   build/deps/TARGET/             the libraries, for instance build/deps/mips-linux-musleabi
#
# Machines are the second column of cmake/architectures. Needs lib.sh.
# shellcheck disable=SC2154 # root, jobs are lib.sh's

. scripts/sources.sh

cross=$root/build/cross
compiler=$(grep -o 'ziglang==[0-9.]*' scripts/cross-requirements.txt)

architectures() { grep -v '^#' cmake/architectures; }

# read_architecture NAME: machine, target, cpu, emulator of OpenWrt's architecture NAME
read_architecture() {
	local name
	while read -r name machine target cpu emulator; do
		[ "$name" = "$1" ] || continue
		[ "$emulator" != - ] || emulator=
		deps=$root/build/deps/$target
		musl=$cross/$machine/musl
		toolchain=$cross/$machine/toolchain.cmake
		return 0
	done < <(architectures)
	die "unknown architecture '$1', cmake/architectures has: $(architectures | cut -d' ' -f1 | xargs)"
}

# write_file FILE: takes it from standard input, leaves an equal one alone
write_file() {
	cat >"$1.new"
	if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1"; fi
}

# program NAME COMMAND...: a program of the machine's toolchain
program() {
	local name=$1
	shift
	write_file "$cross/$machine/$name" <<-END
		#!/bin/sh
		# $compiler $target $cpu
		export ZIG_GLOBAL_CACHE_DIR=$cross/cache ZIG_LOCAL_CACHE_DIR=$cross/cache
		exec $* "\$@"
	END
	chmod +x "$cross/$machine/$name"
}

# setup_musl ZIG: the C library for the machine; the compiler builds it for a first program, and shows
# where it is
setup_musl() {
	local zig=$1 work=$cross/$machine/first part
	local made="$compiler $target $cpu"
	[ "$(cat "$musl/made" 2>/dev/null)" = "$made" ] && return 0
	say "building musl for $machine"
	rm -rf "$musl.new" "$work"
	mkdir -p "$musl.new" "$work"
	echo 'int main(void) { return 0; }' >"$work/first.c"
	ZIG_VERBOSE_LINK=1 ZIG_GLOBAL_CACHE_DIR=$work ZIG_LOCAL_CACHE_DIR=$work \
		"$zig" cc -target "$target" -mcpu="$cpu" -Os -static -fPIE -pie "$work/first.c" -o "$work/first" \
		>"$work/log" 2>&1 || { cut -c1-300 "$work/log" >&2; die "no musl for $target"; }
	grep '^ld.lld .*-o [^ ]*/first ' "$work/log" | tr ' ' '\n' | while read -r part; do
		case $part in */rcrt1.o | */lib*.a) cp "$part" "$musl.new/" ;; esac
	done
	for part in rcrt1.o libc.a libcompiler_rt.a; do
		[ -e "$musl.new/$part" ] || die "the compiler brings no $part for $target"
	done
	echo "$made" >"$musl.new/made"
	rm -rf "$musl" "$work"
	mv "$musl.new" "$musl"
}

# setup_toolchain: what CMake needs for the machine that was read last
setup_toolchain() {
	local zig
	zig=$(echo "$cross"/venv/lib/python3*/site-packages/ziglang/zig)
	[ -x "$zig" ] || die "$cross/venv has no zig"
	mkdir -p "$cross/$machine"
	setup_musl "$zig"
	program cc "$root/scripts/cross-cc" "$zig" "$target" "$cpu" "$musl"
	program ar "$zig" ar
	program ranlib "$zig" ranlib
	write_file "$toolchain" <<-END
		# written by scripts/cross.sh from cmake/architectures
		set(CMAKE_SYSTEM_NAME Linux)
		set(CMAKE_SYSTEM_PROCESSOR $machine)
		set(CMAKE_C_COMPILER $cross/$machine/cc)
		set(CMAKE_AR $cross/$machine/ar)
		set(CMAKE_RANLIB $cross/$machine/ranlib)
		set(CMAKE_STRIP llvm-strip)
		set(CMAKE_OBJCOPY llvm-objcopy)
		set(CMAKE_C_FLAGS_INIT -ffile-prefix-map=$root=.)
		set(CMAKE_EXE_LINKER_FLAGS_INIT -static)
		set(CMAKE_CROSSCOMPILING_EMULATOR "${emulator// /;}")
		set(CMAKE_FIND_ROOT_PATH $deps)
		set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
		set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
		set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
		set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
		set(ENV{PKG_CONFIG_LIBDIR} $deps/lib/pkgconfig)
		set(DOORSTEP_DEPS $deps CACHE PATH "")
	END
}

# built NAME SOURCE TARGET [CMAKE_OPTION...]: builds a library in $work; with TARGET "install" it ends in $new
built() {
	local name=$1 source=$2 goal=$3
	shift 3
	work=$cross/$machine/libraries/$name
	rm -rf "$work"
	{
		cmake -S "$source" -B "$work" -G Ninja --toolchain "$toolchain" \
			-DCMAKE_BUILD_TYPE=MinSizeRel -DCMAKE_C_FLAGS_MINSIZEREL=-Os \
			-DCMAKE_C_FLAGS="$flags" -DCMAKE_INSTALL_PREFIX="$new" -DCMAKE_INSTALL_LIBDIR=lib "$@" &&
			cmake --build "$work" -j "$jobs" --target "$goal"
	} >"$work.log" 2>&1 || { tail -40 "$work.log" >&2; die "$name did not build for $machine"; }
}

build_mbedtls() {
	local from=$sources/mbedtls/include/mbedtls/mbedtls_config.h config=$cross/$machine/mbedtls_config.h off
	off=$(sed -n 's/^MBED/&/p' cmake/libraries/mbedtls_off | paste -sd'|' | sed 's/|/\\|/g')
	sed "s,^#define \($off\)\>,//&," "$from" >"$config"
	built mbedtls "$sources/mbedtls" install -DMBEDTLS_CONFIG_FILE="$config" -DENABLE_PROGRAMS=OFF \
		-DENABLE_TESTING=OFF -DUSE_STATIC_MBEDTLS_LIBRARY=ON -DUSE_SHARED_MBEDTLS_LIBRARY=OFF
	cp "$config" "$new/include/mbedtls/"
}

build_libuv() {
	built libuv "$sources/libuv1" uv_a -DLIBUV_BUILD_TESTS=OFF -DLIBUV_BUILD_BENCH=OFF
	cp "$(ls "$work"/libuv*.a)" "$new/lib/libuv.a"
	cp -r "$sources/libuv1/include/." "$new/include"
	sed 's/libcares/libuv/g; s/-lcares/-luv/' "$new/lib/pkgconfig/libcares.pc" >"$new/lib/pkgconfig/libuv.pc"
}

# setup_libraries: build/deps/TARGET for the machine that was read last, once
setup_libraries() {
	local new=$deps.new package stamp work
	local flags='-ffunction-sections -fdata-sections'
	stamp=$({
		echo "$compiler $target $cpu"
		declare -f built build_mbedtls build_libuv setup_libraries
		cat scripts/cross-cc cmake/libraries/CMakeLists.txt cmake/libraries/mbedtls_off
	} | sha256sum)
	[ "$(cat "$deps/stamp" 2>/dev/null)" = "$stamp" ] && return 0
	for package in c-ares cjson cmocka libsodium libuv1 lmdb; do
		source_package $package "$(this_release)"
	done
	source_mbedtls "$(this_release)" $next_release
	say "building the libraries for $machine into ${deps#"$root/"}"
	rm -rf "$new"
	mkdir -p "$cross/$machine/libraries"
	built small cmake/libraries install -DSOURCES="$sources"
	build_libuv
	build_mbedtls
	sed -i "s,$new,$deps,g" "$new"/lib/pkgconfig/*.pc
	echo "$stamp" >"$new/stamp"
	rm -rf "$deps" "$cross/$machine/libraries"
	mv "$new" "$deps"
}

# setup_architecture NAME: compiler, musl, toolchain and libraries for OpenWrt's architecture NAME
setup_architecture() {
	read_architecture "$1"
	mkdir -p "$cross"
	(
		flock 7
		scripts/setup cross && setup_toolchain && setup_libraries
	) 7>"$cross/lock"
}

# configure_cross DIR CONFIG [CMAKE_OPTION...]: DIR builds for the machine that was read last
configure_cross() {
	local dir=$1 config=$2
	shift 2
	[ -e "$dir/build.ninja" ] && cmp -s "$config" "$dir/board.config" && return 0
	mkdir -p "$dir"
	cp "$config" "$dir/board.config"
	cmake --preset cross -B "$dir" --toolchain "$toolchain" -DDOORSTEP_CONFIG="$dir/board.config" "$@" \
		>"$dir/configure.log" 2>&1 || { cat "$dir/configure.log" >&2; return 1; }
}
