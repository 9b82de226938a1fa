"""Amazon Web Services, and whatever speaks S3: sites and blobs in buckets, CloudFront before them.

boto3 is imported on first use only: a bot without such a target never loads it.
"""

from bot.adapters.aws.account import Access as Access
from bot.adapters.aws.account import Account as Account
