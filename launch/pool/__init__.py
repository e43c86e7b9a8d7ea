"""The elastic pool of loss workers: who is there, who serves whom, and where each request goes."""

from launch.pool.dispatch import Rules as Rules
from launch.pool.member import share as share
from launch.pool.registry import Registry as Registry
from launch.pool.workers import WorkerPool as WorkerPool
