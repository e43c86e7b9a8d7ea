"""The elastic pool of loss workers: its members, their heartbeats, and the choice of a worker."""

from launch.pool.dispatch import Rules as Rules
from launch.pool.member import share as share
from launch.pool.registry import Registry as Registry
from launch.pool.workers import WorkerPool as WorkerPool
